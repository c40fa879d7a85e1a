"""What the workers do."""
import logging

from celery import shared_task

from orders.models import Order

log = logging.getLogger(__name__)


@shared_task
def confirm(number):
    """Confirms an order and lets the other workers send the receipt."""
    Order.objects.filter(pk=number).update(status="confirmed")
    send_receipt.delay(number)


@shared_task
def send_receipt(number):
    """Stands for the mail to the customer."""
    Order.objects.filter(pk=number).update(receipt=True)
    log.info("receipt of order %s sent", number)


@shared_task
def heartbeat():
    """Comes from beat, so that somebody sees when it does not."""
