package live

import (
	"context"
	"time"

	"weir/services/shared/retry"
)

// maxKept bounds the counts that wait for a picture: seconds of them at any rate, in
// some 40 MB.
const maxKept = 500_000

// settle is how long a batch may take from its commit to here. Numbers are compared
// that long after the picture was taken, so that a batch under way is not missed.
const settle = 2 * time.Second

// survey is a look at the database, with the batches that came since it began. Those
// that came before it are in the picture, because they were published after their
// commit. Of the others the picture has some, and tells which.
//
// Its result is adopted as a new epoch, or, while all is well, compared with the
// numbers: a consumer may have died between commit and publish.
type survey struct {
	number     int
	reason     string
	withValues bool // whether the picture has the dimensions too
	batches    []batch
	kept       int
	picture    picture
	cancel     context.CancelFunc
}

// Why there is a survey; all but comparing begin an epoch.
const (
	comparing       = "comparing"
	subscribedAgain = "subscribed" // at the start, and after Redis was lost
	corrected       = "corrected"  // the comparison found a difference
	widened         = "widened"    // somebody wants dimensions, which are not kept otherwise
)

// keep adds a batch; it reports false when there are too many.
func (s *survey) keep(b batch) bool {
	if !s.withValues {
		b.values = nil
	}
	b.sample = nil
	s.batches = append(s.batches, b)
	s.kept += 1 + len(b.counts) + len(b.values)
	return s.kept <= maxKept
}

// result is the picture and the batches that it does not have.
func (s *survey) result() (window, *values) {
	counts, values := s.picture.counts, s.picture.values
	for _, b := range s.batches {
		if s.picture.commits.sees(b.xid) {
			continue
		}
		counts.addAll(b.counts)
		if values != nil {
			values.addAll(b.values)
		}
	}
	return counts, values
}

// begin starts a survey; its picture comes over h.pictures.
func (h *Hub) begin(ctx context.Context, reason string) {
	h.abandon()
	h.surveys++
	ctx, cancel := context.WithCancel(ctx)
	withValues := reason != comparing && h.wanted() != 0
	h.survey = &survey{number: h.surveys, reason: reason, withValues: withValues, cancel: cancel}
	number, from := h.surveys, windowStart(time.Now())
	h.background.Go(func() {
		defer cancel()
		p, err := h.painter.paint(ctx, from, withValues)
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
		if s.reason != comparing {
			h.retrying.Reset(retry.Backoff().InitialInterval * 5)
		}
	case s.reason != comparing:
		h.survey, s.picture = nil, p
		counts, values := s.result()
		h.adopt(counts, values, p.commits, s.reason)
	default:
		s.picture = p
		h.settling.Reset(settle)
	}
}

// reconcile is done now and then while all is well.
func (h *Hub) reconcile(ctx context.Context) {
	if h.wanted() == 0 {
		h.values = nil
	}
	if h.live && h.survey == nil {
		h.begin(ctx, comparing)
	}
}

// compare ends a survey that was for comparing. The dimensions are not looked at: a
// batch that was missed is missing from the counts by type too.
func (h *Hub) compare(ctx context.Context) {
	s := h.survey
	if s == nil {
		return
	}
	h.survey = nil
	from := windowStart(time.Now())
	want, _ := s.result()
	have := h.lanes[0].known() // the others know the same
	want.trim(from)
	have.trim(from)
	if want.equal(have) {
		return
	}
	h.log.Warn("The live numbers differed from the database and were corrected.",
		"events", have.total().events, "events_stored", want.total().events)
	h.begin(ctx, corrected)
}
