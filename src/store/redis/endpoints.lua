-- Changes the endpoint set if nobody else has. KEYS: endpoints, generation. ARGV: the generation it is thought to have;
-- how many are added or replaced, of each id and JSON; the ids of those to remove. Answers the new generation or 0.
local base, count = arg(), tonumber(arg())
local known = call('GET', KEYS[2]) or '0'
if known ~= base then return '0' end
for _ = 1, count do
  local id, json = arg(), arg()
  call('HSET', KEYS[1], id, json)
end
for _ = place + 1, #ARGV do call('HDEL', KEYS[1], arg()) end
local raised = text(math.max(tonumber(known) + 1, now))
call('SET', KEYS[2], raised)
return raised
