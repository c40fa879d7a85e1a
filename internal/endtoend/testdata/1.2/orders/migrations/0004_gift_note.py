from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0003_pickup_index")]
    operations = [migrations.AddField("order", "gift_note", models.TextField(null=True))]
