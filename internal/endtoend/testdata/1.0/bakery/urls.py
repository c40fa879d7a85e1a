"""Addresses."""
from django.conf import settings
from django.urls import path, re_path
from django.views.static import serve

from bakery import health
from orders import views

urlpatterns = [
    path("health", health.full),
    path("health/live", health.live),
    path("api/orders", views.orders),
    path("api/orders/<int:number>", views.order),
    re_path(r"^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}),
]
