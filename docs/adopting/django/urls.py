from django.http import HttpResponse
from django.urls import path

from notes.models import Note


def notes(request):
    authors = Note.objects.values("author").distinct().count()
    return HttpResponse(f"{Note.objects.count()} notes by {authors} authors\n")


urlpatterns = [path("notes", notes)]
