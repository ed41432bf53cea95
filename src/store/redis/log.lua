-- The logs of attempts: of each endpoint a stream of what the rows of its deliveries do not hold, and how many bytes that
-- is, with when the last was recorded that was taken out because there were too many.
local function log_of(endpoint)
  local log = {stream = prefix .. 'al:' .. endpoint, size = prefix .. 'as:' .. endpoint, added = 0}
  local is_empty = call('XLEN', log.stream) == 0
  local bytes, cut = string.match(call('GET', log.size) or '', '^(%d+)|(%d+)$')
  log.bytes, log.cut = is_empty and 0 or tonumber(bytes or 0), cut or '0'
  return log
end
-- Answers the place of the entry.
local function log_add(log, name, detail)
  log.bytes, log.added = log.bytes + #name + #detail, log.added + 1
  return call('XADD', log.stream, '*', 'd', name, 'b', detail)
end
-- Takes the oldest out while they are too many, or too old where that is looked for; of those that are, at least as many as
-- were added. It reads what it takes out and little else: as many as are too many if they are of middle size.
local function log_cut(log, lifetime_s, bytes_max, looks_for_old)
  local expired, left = math.floor(now / 1000) - lifetime_s * 1000, 2 * log.added + 30
  while left > 0 do
    local over, many = log.bytes - bytes_max, 30
    if over > 0 then
      many = math.max(1, math.min(many, math.ceil(over * call('XLEN', log.stream) / log.bytes)))
    elseif not looks_for_old then
      return
    end
    local found, gone = call('XRANGE', log.stream, '-', '+', 'COUNT', text(many)), {}
    for _, entry in ipairs(found) do
      local at = string.match(entry[1], '^%d+')
      local is_old = tonumber(at) < expired
      if not is_old and log.bytes <= bytes_max then break end
      if not is_old then log.cut = at end
      log.bytes = math.max(0, log.bytes - #entry[2][2] - #entry[2][4])
      gone[#gone + 1] = entry[1]
    end
    if #gone == 0 then return end
    call('XDEL', log.stream, unpack(gone))
    left = left - #gone
  end
end
-- It lives as long as what was recorded last.
local function log_close(log, lifetime_s, bytes_max)
  if log.added == 0 then return end
  log_cut(log, lifetime_s, bytes_max, now % 8 == 0)
  call('SET', log.size, text(log.bytes) .. '|' .. log.cut, 'EX', text(lifetime_s))
  call('EXPIRE', log.stream, text(lifetime_s))
end
