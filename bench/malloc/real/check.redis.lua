-- Fills the server with known keys of all kinds, deletes some, and returns a digest of what is left.
redis.call('flushall')
for i = 1, 5000 do
  local key = 'key:' .. i
  redis.call('set', key, string.rep('v' .. i, i % 50))
  redis.call('append', key, i)
  redis.call('rpush', 'list:' .. i % 50, key)
  redis.call('hset', 'hash:' .. i % 70, key, i)
  redis.call('sadd', 'set:' .. i % 90, key)
  redis.call('zadd', 'zset:' .. i % 30, i % 1000, key)
  if i % 3 == 0 then redis.call('del', 'key:' .. i - 1) end
end
local all = redis.call('keys', '*')
table.sort(all)
local sum = ''
for _, key in ipairs(all) do
  sum = redis.sha1hex(sum .. key .. redis.sha1hex(redis.call('type', key).ok))
  if key:sub(1, 4) == 'key:' then sum = redis.sha1hex(sum .. redis.call('get', key)) end
  if key:sub(1, 4) == 'list' then sum = redis.sha1hex(sum .. table.concat(redis.call('lrange', key, 0, -1))) end
  if key:sub(1, 4) == 'zset' then sum = redis.sha1hex(sum .. table.concat(redis.call('zrange', key, 0, -1))) end
end
return sum .. ' ' .. #all
