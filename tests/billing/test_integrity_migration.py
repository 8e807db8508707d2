from django.db import connection


def test_the_migration_can_be_undone_and_done_again(fresh_database):
    ours = "SELECT (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal), (SELECT count(*) FROM pg_proc WHERE proname LIKE 'billing%%')"

    def found():
        with connection.cursor() as cursor:
            cursor.execute(ours)
            return cursor.fetchone()

    before = found()
    for target, expected in ((("billing", "0001"), (0, 0)), ((), before)):
        assert fresh_database.manage("migrate", *target).returncode == 0
        assert found() == expected
    assert before[0] > 20
