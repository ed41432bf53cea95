-- The deliveries of one event. KEYS: its ended rows, its replays. ARGV: the event, how many endpoints, and these. Answers
-- a row for each, empty where nothing was tried; and of each replay `<replay>|<endpoint>`, when it was made, and a row.
local event, began, again = arg(), {}, {}
for i = 1, tonumber(arg()) do
  local endpoint = arg()
  began[i] = call('HGET', prefix .. 'p:' .. endpoint, event) or call('HGET', KEYS[1], endpoint) or ''
end
local replays = call('HGETALL', KEYS[2])
for i = 1, #replays, 2 do
  local replay, endpoint = string.match(replays[i], '^([^|]*)|(.*)$')
  local row = call('HGET', prefix .. 'p:' .. endpoint, event .. '~' .. replay)
    or call('HGET', KEYS[1], '~' .. replays[i]) or ''
  again[#again + 1] = {replays[i], replays[i + 1], row}
end
return {began, again}
