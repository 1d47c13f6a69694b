package live

import (
	"context"
	"time"

	"weir/services/shared/retry"
)

// maxKept bounds the counts that wait for a picture: seconds of them at any rate.
const maxKept = 200_000

// settle is how long a batch may take from its commit to here. Numbers are compared
// that long after the picture was taken, so that a batch under way is not missed.
const settle = 2 * time.Second

// survey is a look at the database, with the batches that came since it began. Those
// that came before it are in the picture, because they were published after their
// commit. Of the others the picture has some, and tells which.
//
// It serves twice. At the start, and after Redis was lost, its result is adopted.
// While all is well, its result is compared with the numbers: a consumer may have
// died between commit and publish.
type survey struct {
	number   int
	adopting bool
	batches  []batch
	kept     int
	picture  picture
	cancel   context.CancelFunc
}

// keep adds a batch; it reports false when there are too many.
func (s *survey) keep(b batch) bool {
	s.batches = append(s.batches, b)
	s.kept += 1 + len(b.counts)
	return s.kept <= maxKept
}

// result is the picture and the batches that it does not have.
func (s *survey) result() window {
	counts := s.picture.counts
	for _, b := range s.batches {
		if !s.picture.commits.sees(b.xid) {
			counts.addAll(b.counts)
		}
	}
	return counts
}

// begin starts a survey; its picture comes over h.pictures.
func (h *Hub) begin(ctx context.Context, adopting bool) {
	h.abandon()
	h.surveys++
	ctx, cancel := context.WithCancel(ctx)
	h.survey = &survey{number: h.surveys, adopting: adopting, cancel: cancel}
	number, from := h.surveys, windowStart(time.Now())
	h.background.Go(func() {
		defer cancel()
		p, err := h.painter.paint(ctx, from)
		p.number, p.err = number, err
		select {
		case h.pictures <- p:
		case <-ctx.Done():
		}
	})
}

func (h *Hub) abandon() {
	h.settling.Stop()
	h.retrying.Stop()
	if h.survey != nil {
		h.survey.cancel()
		h.survey = nil
	}
}

// look takes the picture of the survey under way.
func (h *Hub) look(p picture) {
	s := h.survey
	if s == nil || s.number != p.number {
		return
	}
	switch {
	case p.err != nil:
		h.survey = nil
		h.log.Warn("The database could not be read for the live feed.", "error", p.err)
		if s.adopting {
			h.retrying.Reset(retry.Backoff().InitialInterval * 5)
		}
	case s.adopting:
		h.survey, s.picture = nil, p
		h.adopt(s.result(), p.commits, "subscribed")
	default:
		s.picture = p
		h.settling.Reset(settle)
	}
}

// compare ends a survey that was for comparing. A batch that comes later than
// settle and is in the picture is not counted twice, because the picture is the new
// epoch's base.
func (h *Hub) compare() {
	s := h.survey
	if s == nil {
		return
	}
	h.survey = nil
	from := windowStart(time.Now())
	want, have := s.result(), window{}
	have.addAll(h.state)
	have.addAll(h.pending)
	want.trim(from)
	have.trim(from)
	if want.equal(have) {
		return
	}
	h.log.Warn("The live numbers differed from the database and were corrected.",
		"events", have.total().events, "events_stored", want.total().events)
	h.adopt(want, s.picture.commits, "corrected")
}
