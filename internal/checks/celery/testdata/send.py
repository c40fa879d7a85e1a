"""Sends tasks: TASK QUEUE PRIORITY COUNTDOWN COUNT [ARGUMENT]."""
import sys

from shop import app

task, queue, priority, countdown, count = sys.argv[1:6]
for _ in range(int(count)):
    app.send_task(task, args=sys.argv[6:], queue=queue, priority=int(priority), countdown=float(countdown) or None)
