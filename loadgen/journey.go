package loadgen

import (
	"fmt"
	"slices"
)

// Journey is a session as a Markov chain: for each step, the weights of what
// follows. Every session begins with "land"; a step without a row is the last.
type Journey map[string]map[string]float64

// The steps of a journey and what each sends.
const (
	land     = iota // page_view, with the external referrer
	browse          // page_view of a listing
	search          // search
	product         // page_view of a product
	click           // click, on the page at hand
	cart            // add_to_cart, with the product's price
	checkout        // checkout
	purchase        // purchase, with the cart's value
	account         // login of a member, signup of anybody else
	failure         // error, on the page at hand
	leave           // nothing: the session is over
	steps    = leave
)

var stepNames = [...]string{"land", "browse", "search", "product", "click", "cart", "checkout", "purchase", "account", "error", "leave"}

// chain is a Journey ready to be walked.
type chain struct {
	share [steps][steps + 1]float64 // probability of each next step
	next  [steps]weighted
}

func newChain(j Journey) (*chain, error) {
	c := &chain{}
	for step := range steps {
		row, total := &c.share[step], 0.0
		for i, name := range stepNames {
			row[i] = j[stepNames[step]][name]
			total += row[i]
		}
		if total == 0 {
			row[leave], total = 1, 1
		}
		for i := range row {
			row[i] /= total
		}
		c.next[step] = newWeighted(row[:])
	}
	if _, arrived := c.walk(leave); arrived < 1-1e-6 {
		return nil, fmt.Errorf("journey: sessions must come to leave within %d events", maxSession)
	}
	return c, nil
}

// maxSession is the number of events after which a session that goes on is taken
// for one that never ends.
const maxSession = 1000

// walk follows all visitors at once until they reach the target or leave. It
// returns how often each step is taken on average, and the share that arrives.
func (c *chain) walk(target int) (visits [steps]float64, arrived float64) {
	var here [steps + 1]float64
	here[land] = 1
	for range maxSession {
		arrived += here[target]
		here[target], here[leave] = 0, 0
		var then [steps + 1]float64
		for step, people := range here[:steps] {
			visits[step] += people
			for i, share := range c.share[step] {
				then[i] += people * share
			}
		}
		here = then
	}
	return visits, arrived
}

// Length returns the mean number of events of a session.
func (j Journey) Length() (float64, error) {
	c, err := newChain(j)
	if err != nil {
		return 0, err
	}
	visits, _ := c.walk(leave)
	return sum(visits), nil
}

// Reach returns the share of sessions that come to a step, such as "purchase":
// the answer that a funnel over sessions must give.
func (j Journey) Reach(step string) (float64, error) {
	target := slices.Index(stepNames[:], step)
	if target < 0 {
		return 0, fmt.Errorf("no step %q: the steps are %v", step, stepNames)
	}
	c, err := newChain(j)
	if err != nil {
		return 0, err
	}
	_, arrived := c.walk(target)
	return arrived, nil
}

func sum(visits [steps]float64) (total float64) {
	for _, v := range visits {
		total += v
	}
	return total
}
