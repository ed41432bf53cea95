// From the seed document 003, "Example (Node.js / Express)", with the line breaks that its copy has lost.
app.post('/webhooks/sentinmail', (req, res) => {
  const event = req.body;
  console.log(`Received event: ${event.type} for ${event.recipient}`);

  // Acknowledge immediately
  res.status(200).send('OK');

  // Process async
  processEmailEvent(event);
});
