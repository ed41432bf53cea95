-- The deliveries of one event. KEYS: its ended rows. ARGV: the event, how many endpoints, and these. Answers a row for
-- each, empty where nothing was tried.
local event, answers = arg(), {}
for i = 1, tonumber(arg()) do
  local endpoint = arg()
  answers[i] = call('HGET', prefix .. 'p:' .. endpoint, event) or call('HGET', KEYS[1], endpoint) or ''
end
return answers
