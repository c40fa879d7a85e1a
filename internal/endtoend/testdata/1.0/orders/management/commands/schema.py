"""What the deployment wants to know of the schema."""
import json
import os
import sys

from django.core.management.base import BaseCommand
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


class Command(BaseCommand):
    help = "schema note: writes the newest applied migration; schema probe: 0 all applied, 10 none of the pending ones, 11 some"

    def add_arguments(self, parser):
        parser.add_argument("what", choices=["note", "probe"])
        parser.add_argument("--before", help="with probe, the newest migration that was applied before")

    def handle(self, *, what, before, **options):
        executor = MigrationExecutor(connection)
        applied = sorted(name for app, name in executor.loader.applied_migrations if app == "orders")
        newest = applied[-1] if applied else "zero"
        if what == "note":
            with open(os.environ["ALLCLEAR_OUTPUT"], "w") as output:
                json.dump({"schema.before": newest}, output)
            return
        if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
            sys.exit(0)
        sys.exit(10 if newest == before else 11)
