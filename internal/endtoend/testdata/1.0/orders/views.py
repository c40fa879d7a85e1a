"""The API."""
import json
import logging

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from orders import tasks
from orders.models import Order

log = logging.getLogger(__name__)


def authorised(view):
    """Lets in who has the token."""
    def guarded(request, **parameters):
        if not constant_time_compare(request.headers.get("Authorization", ""), "Bearer " + settings.API_TOKEN):
            return JsonResponse({"error": "unauthorised"}, status=401)
        return view(request, **parameters)
    return csrf_exempt(guarded)


@authorised
def orders(request):
    if request.method == "POST":
        made = Order.objects.create(**json.loads(request.body))
        tasks.confirm.delay(made.pk)
        log.info("order %s placed", made.pk)
        return JsonResponse(made.as_json(), status=201)
    return JsonResponse({"orders": [order.as_json() for order in Order.objects.order_by("-pk")[:20]]})


@authorised
def order(request, number):
    found = get_object_or_404(Order, pk=number)
    if request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    return JsonResponse(found.as_json())
