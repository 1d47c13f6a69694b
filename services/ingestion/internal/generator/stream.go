package generator

import (
	"context"
	"log/slog"
	"time"

	"weir/services/ingestion/internal/gate"
	"weir/services/ingestion/internal/publish"
	"weir/services/shared/retry"
)

// What to do with events that are refused.
const (
	Hold  = "hold"  // keep them until they are taken: nothing is lost, and all after them is late
	Offer = "offer" // give them up and count them: the load stays what it is
)

// Stream sends batches to the Redis Streams.
type Stream struct {
	Publisher *publish.Publisher
	Log       *slog.Logger
	Overload  func() string // Hold or Offer, which may change
}

// publishTimeout bounds one attempt; the publisher gives up before.
const publishTimeout = 10 * time.Second

// Send publishes a batch. With Hold it goes on until the batch is taken, or ctx ends;
// the events keep their ids, so none is stored twice.
func (s *Stream) Send(ctx context.Context, b *Batch) (taken bool, err error) {
	messages, text := make([]publish.Message, b.Len()), string(b.Bytes)
	begin := 0
	for i := range messages {
		messages[i] = publish.Message{Partition: b.partition(i), Payload: text[begin:b.ends[i]]}
		begin = b.ends[i]
	}
	for backoff := retry.Backoff(); ; {
		// What has begun may finish when the run ends.
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
		err := s.Publisher.Publish(attempt, messages)
		cancel()
		if err == nil {
			return true, nil
		}
		wait := time.Duration(0)
		if _, refused := gate.IsRefused(err); !refused {
			wait = backoff.NextBackOff()
			s.Log.Warn("Publishing generated events failed.", "events", len(messages), "error", err)
		}
		if s.Overload() == Offer {
			return false, nil
		}
		if err := s.opening(ctx, wait); err != nil {
			return false, err
		}
	}
}

// opening waits at least so long, and until events are let in.
func (s *Stream) opening(ctx context.Context, atLeast time.Duration) error {
	const look = 20 * time.Millisecond
	for wait := max(atLeast, look); ; wait = look {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		if s.Publisher.Open() || s.Overload() == Offer {
			return nil
		}
	}
}
