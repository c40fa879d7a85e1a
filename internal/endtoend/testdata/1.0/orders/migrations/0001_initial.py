from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=64, unique=True)),
                ("quantity", models.PositiveIntegerField()),
                ("status", models.CharField(default="placed", max_length=16)),
                ("receipt", models.BooleanField(default=False)),
                ("placed_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]
