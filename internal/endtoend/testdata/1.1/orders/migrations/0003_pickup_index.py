from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Builds the index beside all writers; to give up on the way would leave an invalid one."""
    atomic = False
    dependencies = [("orders", "0002_pickup")]
    operations = [
        migrations.RunSQL("SET lock_timeout = 0", "SET lock_timeout = 0"),
        AddIndexConcurrently("order", models.Index(fields=["pickup_on"], name="orders_pickup")),
    ]
