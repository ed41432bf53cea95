-- Changes the endpoint set if nobody else has, and tells of it. KEYS: endpoints, generation, numbered, audit. ARGV: the
-- generation it is thought to have; the highest number of those added or replaced; the lifetime of an entry of the audit log
-- in milliseconds, how many entries, how many are added or replaced; the entries; of each endpoint id and JSON; the ids of
-- those to remove. Answers the new generation or 0.
local base, numbered, lifetime_ms, told, count = arg(), tonumber(arg()), tonumber(arg()), tonumber(arg()), tonumber(arg())
local entries = {}
for _ = 1, told do table.insert(entries, arg()) end
local known = call('GET', KEYS[2]) or '0'
if known ~= base then return '0' end
call('XLEN', KEYS[4])
if numbered > tonumber(call('GET', KEYS[3]) or '0') then call('SET', KEYS[3], text(numbered)) end
for _ = 1, count do
  local id, json = arg(), arg()
  call('HSET', KEYS[1], id, json)
end
for _ = place + 1, #ARGV do call('HDEL', KEYS[1], arg()) end
note(KEYS[4], lifetime_ms, entries)
local raised = text(math.max(tonumber(known) + 1, now))
call('SET', KEYS[2], raised)
return raised
