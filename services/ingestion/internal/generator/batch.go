package generator

import (
	"time"

	"weir/loadgen"
	"weir/services/shared/event"
)

// Batch is items on their way together. Its memory is used again.
type Batch struct {
	Bytes      []byte // the payloads, one after the other
	ends       []int  // where each ends in Bytes
	at         []time.Duration
	kinds      [4]int64
	partitions []int
}

// Len returns the number of items.
func (b *Batch) Len() int { return len(b.ends) }

// Payload returns the i-th payload.
func (b *Batch) Payload(i int) []byte {
	begin := 0
	if i > 0 {
		begin = b.ends[i-1]
	}
	return b.Bytes[begin:b.ends[i]]
}

// take adds the source's next item.
func (b *Batch) take(source *loadgen.Generator, partitions int) {
	item, _ := source.Next(b.Bytes)
	b.Bytes = item.Payload
	b.ends = append(b.ends, len(b.Bytes))
	b.at = append(b.at, item.At)
	b.kinds[item.Kind]++
	if partitions > 1 {
		b.partitions = append(b.partitions, event.Partition(item.Actor, partitions))
	}
}

func (b *Batch) partition(i int) int {
	if len(b.partitions) == 0 {
		return 0
	}
	return b.partitions[i]
}

func (b *Batch) reset() {
	*b = Batch{Bytes: b.Bytes[:0], ends: b.ends[:0], at: b.at[:0], partitions: b.partitions[:0]}
}
