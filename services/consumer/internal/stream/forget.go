package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// forget looks and deletes in one step: XGROUP DELCONSUMER throws pending entries
// away without a word, and between two commands the consumer might have been given
// some.
var forget = redis.NewScript(`
local removed = {}
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
    if consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
        removed[#removed + 1] = consumer.name
    end
end
return removed`)

// Forget removes the consumers of the group that have nothing pending and gave no
// sign for idle, and returns their names. One that lives after all is made again by
// its next read.
func (g Group) Forget(ctx context.Context, idle time.Duration) ([]string, error) {
	names, err := forget.Run(ctx, g.Client, []string{g.Key}, g.Name, idle.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("remove idle consumers: %w", err)
	}
	return names, nil
}
