-- Changes the endpoint set if nobody else has. KEYS: endpoints, generation, numbered. ARGV: the generation it is thought to
-- have; the highest number of those added or replaced, how many they are, of each id and JSON; the ids of those to remove. Answers the new generation or 0.
local base, numbered, count = arg(), tonumber(arg()), tonumber(arg())
local known = call('GET', KEYS[2]) or '0'
if known ~= base then return '0' end
if numbered > tonumber(call('GET', KEYS[3]) or '0') then call('SET', KEYS[3], text(numbered)) end
for _ = 1, count do
  local id, json = arg(), arg()
  call('HSET', KEYS[1], id, json)
end
for _ = place + 1, #ARGV do call('HDEL', KEYS[1], arg()) end
local raised = text(math.max(tonumber(known) + 1, now))
call('SET', KEYS[2], raised)
return raised
