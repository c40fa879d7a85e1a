"""The health page: are the database, Redis and the workers there?"""
import redis
from django.conf import settings
from django.db import connection
from django.http import JsonResponse

from bakery.celery import app
from bakery.version import VERSION


def live(request):
    """This process answers."""
    return JsonResponse({"version": VERSION})


def full(request):
    """Everything that it needs answers."""
    parts = {"database": database, "redis": broker, "celery": workers}
    answers = {name: state(ask) for name, ask in parts.items()}
    healthy = all(answer == "healthy" for answer in answers.values())
    answers.update(version=VERSION, status="healthy" if healthy else "unhealthy")
    return JsonResponse(answers, status=200 if healthy else 503)


def state(ask):
    try:
        return "healthy" if ask() else "unhealthy"
    except Exception as error:
        return type(error).__name__


def database():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchone() == (1,)


def broker():
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2).ping()


def workers():
    """Both kinds of workers answer a ping."""
    replies = app.control.ping(timeout=2, limit=2)
    return {name.split("@")[0] for reply in replies for name in reply} >= {"default", "mail"}
