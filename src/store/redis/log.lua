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
-- Takes the oldest out while they are too old or too many; of those that are, at least as many as were added.
local function log_cut(log, lifetime_s, bytes_max)
  local expired, left = math.floor(now / 1000) - lifetime_s * 1000, 2 * log.added + 30
  while left > 0 do
    local found, gone = call('XRANGE', log.stream, '-', '+', 'COUNT', '30'), {}
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
  if log.bytes > bytes_max or now % 8 == 0 then log_cut(log, lifetime_s, bytes_max) end
  call('SET', log.size, text(log.bytes) .. '|' .. log.cut, 'EX', text(lifetime_s))
  call('EXPIRE', log.stream, text(lifetime_s))
end
