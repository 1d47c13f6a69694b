package rig

import (
	"context"
	"errors"
	"syscall"
	"time"

	"weir/openapi/client"
	"weir/openapi/client/ingestion"
)

const wake = syscall.SIGCONT

// Load is what the generator is to do.
type Load struct {
	Rate float64 // events per second
	Hold bool    // what is refused waits and is sent later; else it is given up and counted
	Even bool    // at equal distances; else as independent visitors come
}

// Begin lets the generator offer a load until End, and returns the time from which events
// are due.
func (r *Rig) Begin(ctx context.Context, l Load) (began time.Time, err error) {
	g, err := r.generator()
	if err != nil {
		return began, err
	}
	arrivals, overload := ingestion.ChangeArrivalsPoisson, ingestion.ChangeOverloadOffer
	if l.Hold {
		overload = ingestion.ChangeOverloadHold
	}
	if l.Even {
		arrivals = ingestion.ChangeArrivalsEven
	}
	change := ingestion.Change{Rate: &l.Rate, Arrivals: &arrivals, Overload: &overload, Volume: &ingestion.Volume{}, Faults: &ingestion.Faults{}}
	if _, err := client.Answer(g.ChangeGeneratorWithResponse(ctx, change)); err != nil {
		return began, err
	}
	s, err := client.Answer(g.StartGeneratorWithResponse(ctx))
	if err != nil {
		return began, err
	}
	r.ledger.begin(l, s)
	return *s.StartedAt, nil
}

// End ends the load and returns what became of it, once what was on its way has arrived.
func (r *Rig) End(ctx context.Context) (f ingestion.Figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	g, err := r.generator()
	if err != nil {
		return f, err
	}
	s, err := client.Answer(g.StopGeneratorWithResponse(ctx))
	if err == nil {
		r.ledger.end(s)
	}
	return s.Statistics, err
}

// Status asks the generator.
func (r *Rig) Status(ctx context.Context) (s ingestion.Status, err error) {
	g, err := r.generator()
	if err != nil {
		return s, err
	}
	return client.Answer(g.GetGeneratorWithResponse(ctx))
}

func (r *Rig) generator() (*ingestion.ClientWithResponses, error) {
	p := r.Program(Generator)
	if p == nil {
		return nil, errors.New("the generator does not run")
	}
	return ingestion.NewClientWithResponses(p.URL)
}
