"""Migrates without making users wait for long."""
import time

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import OperationalError, connection

TRIES, WAIT, PAUSE = 30, "500ms", 0.5


class Command(BaseCommand):
    help = "migrate, which gives up a lock that it does not get within half a second, and tries again"

    def add_arguments(self, parser):
        parser.add_argument("target", nargs="*", help="app and migration, as for migrate")

    def handle(self, *, target, **options):
        for left in reversed(range(TRIES)):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SET lock_timeout = %s", [WAIT])
                call_command("migrate", *target, interactive=False)
                return
            except OperationalError as error:
                if left == 0 or "lock timeout" not in str(error):
                    raise
                self.stderr.write("a lock was not free, again: " + str(error).splitlines()[0])
                connection.close()
                time.sleep(PAUSE)
