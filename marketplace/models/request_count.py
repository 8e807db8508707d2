from django.db import models


class RequestCount(models.Model):
    """How many requests a key has made in its last minute with one. Written by `marketplace.api.limits` alone.

    The table is UNLOGGED: counting does not wait for the disk, and a crash of the database forgets a minute's count.
    """

    key = models.OneToOneField(
        "marketplace.ApiKey", on_delete=models.CASCADE, primary_key=True, db_constraint=False, related_name="+"
    )
    minute = models.BigIntegerField()  # since 1970
    number = models.IntegerField()

    def __str__(self) -> str:
        return str(self.number)
