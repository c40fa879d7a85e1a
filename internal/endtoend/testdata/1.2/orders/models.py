"""Orders."""
from django.db import models


class Order(models.Model):
    reference = models.CharField(max_length=64, unique=True)
    quantity = models.PositiveIntegerField()
    status = models.CharField(max_length=16, default="placed")
    receipt = models.BooleanField(default=False)
    placed_at = models.DateTimeField(auto_now_add=True)
    pickup_on = models.DateField(null=True)
    gift_note = models.TextField(null=True)

    class Meta:
        indexes = [models.Index(fields=["pickup_on"], name="orders_pickup")]

    def as_json(self):
        return {"id": self.pk, "reference": self.reference, "quantity": self.quantity, "status": self.status, "receipt": self.receipt, "pickup_on": self.pickup_on, "gift_note": self.gift_note}
