-- One page of the attempts to an endpoint, the latest recorded first. KEYS: its log, and how much it holds. ARGV: the
-- endpoint, where to begin, how many. Answers when the last was recorded that was taken out, and of each its place, name,
-- detail, and the row of its delivery (empty when that has expired).
local endpoint, from, limit = arg(), arg(), arg()
local answers = {}
for _, entry in ipairs(call('XREVRANGE', KEYS[1], from, '-', 'COUNT', limit)) do
  local name = entry[2][2]
  local key, field = ended_at(name, endpoint)
  local row = call('HGET', prefix .. 'p:' .. endpoint, name) or call('HGET', key, field) or ''
  answers[#answers + 1] = {entry[1], name, entry[2][4], row}
end
return {string.match(call('GET', KEYS[2]) or '', '|(%d+)$') or '0', answers}
