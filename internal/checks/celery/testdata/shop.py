"""A small application: what the tests of the Celery types run."""
import os
import time

from celery import Celery

app = Celery("shop", broker=os.environ["BROKER"])
app.conf.task_default_queue = "default"
app.conf.task_serializer = os.environ.get("SERIALIZER", "json")
app.conf.accept_content = ["json", "pickle"]
app.conf.worker_prefetch_multiplier = 2
app.conf.beat_schedule = {"tick": {"task": "shop.tick", "schedule": 0.5, "options": {"queue": "default"}}}


@app.task(name="shop.tick")
def tick():
    return None


@app.task(name="shop.wait")
def wait(path):
    """Runs until there is a file."""
    while not os.path.exists(path):
        time.sleep(0.02)
