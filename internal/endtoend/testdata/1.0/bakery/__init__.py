"""The bakery takes orders and confirms them."""
from bakery.celery import app as celery_app

__all__ = ["celery_app"]
