"""Places an order and reads it again: does this release work on the database that it is given?"""
import uuid

from django.core.management.base import BaseCommand
from django.db import transaction

from orders.models import Order


class Command(BaseCommand):
    help = "places an order, reads it and takes it back"

    def handle(self, **options):
        with transaction.atomic():
            made = Order.objects.create(reference=uuid.uuid4().hex, quantity=1)
            Order.objects.get(pk=made.pk)
            transaction.set_rollback(True)
