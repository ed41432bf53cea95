# From the seed document 003, "Example (Python / Django)", with the line breaks that its copy has lost.
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
import json

@csrf_exempt
def sentinmail_webhook(request):
    if request.method == 'POST':
        event = json.loads(request.body)
        print(f"Received: {event['type']} for {event['recipient']}")

        # Process async (e.g., queue to Celery)
        process_email_event.delay(event)

    return HttpResponse(status=200)
