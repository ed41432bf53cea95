-- The deliveries of one event. KEYS: its ended rows, its pending ones. Answers row and due time for each endpoint asked for.
local mail, event = arg(), arg()
local answers = {}
for i = 1, tonumber(arg()) do
  local endpoint = arg()
  local row = text_of(event, endpoint)
  local due
  for _, class in ipairs({'h', 'n'}) do
    due = due or redis.call('ZSCORE', lane(class, endpoint), mail .. ':' .. event)
  end
  answers[i] = {row or '', due and text(tonumber(due)) or ''}
end
return answers
