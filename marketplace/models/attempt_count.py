from django.db import models


class AttemptCount(models.Model):
    """How often something was tried in a span of time. `key` says what and by whom. Written by `marketplace.limits` alone.

    The table is UNLOGGED, as `RequestCount`'s: a crash of the database forgets the counts.
    """

    key = models.CharField(max_length=100, primary_key=True, db_collation="C")
    begins_at = models.DateTimeField()  # of the span that is counted
    number = models.IntegerField()

    def __str__(self) -> str:
        return str(self.number)
