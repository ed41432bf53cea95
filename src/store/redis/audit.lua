-- Adds entries to the audit log, each as JSON; older ones go in bounded steps.
local function note(log, lifetime_ms, entries)
  local least = text(math.floor(now / 1000) - lifetime_ms)
  for _, json in ipairs(entries) do call('XADD', log, 'MINID', '~', least, 'LIMIT', text(MANY), '*', 'e', json) end
  if #entries > 0 then call('PEXPIRE', log, text(lifetime_ms)) end
end
