-- Keeps a request, unless it is there. KEYS: r:<request>, n:<request>, incomplete. ARGV: the lifetime in seconds, its id, what
-- is kept of it, and what of it was not understood or nothing; how much longer the parts of its body live, in seconds, which
-- is how long they live until now, how many there are, and their keys. Answers 1, 0 if it is there, or 2 if a part has gone.
-- Of those that were not understood each has a stamp of its own, which is its place in the list.
local lifetime_s, id, value, lacks = tonumber(arg()), arg(), arg(), arg()
local longer_s, parts = tonumber(arg()), {}
for i = 1, tonumber(arg()) do parts[i] = arg() end
local is_there = call('EXISTS', KEYS[1]) == 1
for _, part in ipairs(parts) do
  if not is_there and call('EXISTS', part) == 0 then return 2 end
end
local last = tonumber(call('ZREVRANGE', KEYS[3], '0', '0', 'WITHSCORES')[2] or '0')
if is_there then
  -- It may have been erased: parts that nothing refers to go too.
  for _, part in ipairs(parts) do
    local left_ms = call('PTTL', part)
    if left_ms >= 0 and left_ms <= longer_s * 1000 then call('UNLINK', part) end
  end
  return 0
end
for _, part in ipairs(parts) do call('EXPIRE', part, text(lifetime_s + longer_s)) end
call('SET', KEYS[1], value, 'EX', text(lifetime_s))
if lacks == '' then return 1 end
call('SET', KEYS[2], lacks, 'EX', text(lifetime_s))
call('ZADD', KEYS[3], text(math.max(now, last + 1)), id)
local old = call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - lifetime_s * 1000000), 'LIMIT', '0', text(MANY))
if #old > 0 then call('ZREM', KEYS[3], unpack(old)) end
return 1
