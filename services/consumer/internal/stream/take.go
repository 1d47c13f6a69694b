package stream

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"weir/services/shared/backlog"
)

// XREADGROUP makes every entry pending by itself, and Redis writes each of these to its
// append-only file: 3 µs an entry, more than all else that Redis does for it, and
// another 0.8 µs to acknowledge it. So a consumer reads without taking (XREAD, 0.7 µs),
// and then takes all that it read at once: the group moves to the last entry, and the
// first becomes pending as the mark of the whole chunk. What Redis calls the number of
// deliveries of a mark is the number of entries that it stands for.
//
// All else is as with XREADGROUP. XPENDING shows who holds what and for how long, an
// entry that is pending by itself is a chunk of one, and XACK of the mark acknowledges
// the chunk.
//
// Two consumers may read the same entries; the group's position says who comes first,
// and the other goes on from there.
var take = redis.NewScript(`
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = {}
    for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
    if group.name == ARGV[1] then
        if group['last-delivered-id'] ~= ARGV[3] then return {0, group['last-delivered-id']} end
        local marked = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[4], 'RETRYCOUNT', ARGV[6], 'FORCE', 'JUSTID')
        if #marked == 0 then return {0, ARGV[3]} end -- the first was deleted meanwhile
        local read = group['entries-read'] -- what the lag is reckoned from
        if not read then -- not known: it is at the very beginning that one can tell
            local info = redis.call('XINFO', 'STREAM', KEYS[1])
            local stream = {}
            for i = 1, #info, 2 do stream[info[i]] = info[i + 1] end
            if stream['recorded-first-entry-id'] == ARGV[4] then read = stream['entries-added'] - stream.length end
        end
        if read then
            redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[5], 'ENTRIESREAD', read + ARGV[6])
        else
            redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[5])
        end
        return {1, ARGV[5]}
    end
end
return redis.error_reply('NOGROUP no group ' .. ARGV[1])`)

// take takes entries, which follow the position, for a consumer. It reports whether it
// came first, and where the group is now.
func (g Group) take(ctx context.Context, consumer, position string, entries []Entry) (mine bool, now string, err error) {
	n := len(entries)
	reply, err := take.Run(ctx, g.Client, []string{g.Key}, g.Name, consumer, position, entries[0].ID, entries[n-1].ID, n).Slice()
	if err != nil {
		return false, "", fmt.Errorf("take entries: %w", absent(err))
	}
	first, _ := reply[0].(int64)
	now, _ = reply[1].(string)
	return first == 1, now, nil
}

// position returns the last entry that the group has given to a consumer.
func (g Group) position(ctx context.Context) (string, error) {
	groups, err := g.groups(ctx)
	if err != nil {
		return "", err
	}
	for _, info := range groups {
		if info.Name == g.Name {
			return info.LastDeliveredID, nil
		}
	}
	return "", errNoGroup
}

// mark is a pending entry, which stands for itself and the n-1 entries after it.
type mark struct {
	id string
	n  int64
}

// mostMarks bounds the marks of one chunk, each of which is a command to read it.
const mostMarks = 500

// marks lists pending entries in the order of the stream, beginning after an id, as
// many as stand for count entries but at least one; and where to go on, "" at the end.
func (g Group) marks(ctx context.Context, p redis.XPendingExtArgs, after string, count int64) (marks []mark, next string, err error) {
	p.Stream, p.Group, p.Start, p.End, p.Count = g.Key, g.Name, "("+after, "+", min(count, mostMarks)
	if after == "" {
		p.Start = "-"
	}
	list, err := g.Client.XPendingExt(ctx, &p).Result()
	if err != nil {
		return nil, after, fmt.Errorf("list pending: %w", absent(err))
	}
	total := int64(0)
	for _, e := range list {
		n := min(max(1, e.RetryCount), backlog.MostOfMark)
		if total += n; total > count && len(marks) > 0 {
			break
		}
		marks = append(marks, mark{e.ID, n})
		next = e.ID
	}
	return marks, next, nil
}

// load reads the entries of marks, and returns the marks whose own entry is there. Of a
// mark whose entry somebody deleted, what is left of its chunk is marked anew, as the
// consumer's.
//
// Entries that were deleted in the middle of a chunk make it reach further than it
// should, to entries that another chunk has too. They are recognised when they are
// stored.
func (g Group) load(ctx context.Context, consumer string, marks []mark) (list []Entry, there, anew, gone []string, err error) {
	replies, err := g.Client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, m := range marks {
			p.XRangeN(ctx, g.Key, m.id, "+", m.n)
		}
		return nil
	})
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("read pending entries: %w", err)
	}
	for i, m := range marks {
		chunk := entries(replies[i].(*redis.XMessageSliceCmd).Val())
		if len(chunk) > 0 && chunk[0].ID == m.id {
			there = append(there, m.id)
		} else {
			gone = append(gone, m.id)
			if chunk = chunk[:min(len(chunk), int(m.n)-1)]; len(chunk) > 0 {
				first := chunk[0].ID
				if err := g.Client.Do(ctx, "XCLAIM", g.Key, g.Name, consumer, 0, first, "RETRYCOUNT", len(chunk), "FORCE", "JUSTID").Err(); err != nil {
					return nil, nil, nil, nil, fmt.Errorf("mark what is left of a chunk: %w", err)
				}
				anew = append(anew, first)
			}
		}
		for _, e := range chunk {
			if len(list) == 0 || idLess(list[len(list)-1].ID, e.ID) {
				list = append(list, e)
			}
		}
	}
	return list, there, anew, gone, nil
}
