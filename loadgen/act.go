package loadgen

import (
	"math/rand/v2"
	"time"

	"weir/services/shared/event"
)

// deed is one step taken, as the oracle counts it: small numbers that stand for
// names.
type deed struct {
	time     time.Time
	late     bool
	kind     int // index into types
	actor    int // two for each person: anonymous, and logged in
	session  int
	path     int
	referrer int
	country  int
	platform int
	value    int64
}

// types are the types of the events produced. The funnel's stand together.
var types = [...]string{"page_view", "add_to_cart", "checkout", "purchase", "search", "click", "signup", "login", "error"}

const (
	typePageView = iota
	typeAddToCart
	typeCheckout
	typePurchase
	typeSearch
	typeClick
	typeSignup
	typeLogin
	typeError
)

// act lets the session take its next step at t, and leaves the event in g.event.
func (g *Generator) act(s *session, t time.Time) deed {
	v, e := &g.visitors, &g.event
	site, r := v.site, v.rand
	did := deed{
		time:     t,
		late:     s.behind > 0,
		actor:    2 * s.person.rank,
		session:  s.number,
		country:  s.person.country,
		platform: s.person.platform,
	}
	*e = event.Event{
		ID:          newID(t, g.ids),
		Time:        t,
		Source:      g.profile.Source,
		AnonymousID: s.anonymousID,
		SessionID:   s.sessionID,
		Country:     v.audience.countries[s.person.country],
	}
	platform := &v.audience.platforms[s.person.platform]
	e.Device, e.OS, e.Browser = platform.Device, platform.OS, platform.Browser

	switch s.next {
	case land:
		did.referrer = s.referrer
	case browse:
		s.page = site.listing(r)
	case search:
		s.page = pageSearch
		did.kind, e.Properties = typeSearch, pick(r, site.queries)
	case product:
		s.page = site.product(r)
	case click:
		did.kind, e.Properties = typeClick, pick(r, site.clicks)
	case cart:
		if site.pages[s.page].price == 0 {
			s.page = site.product(r) // put in the cart from a list
		}
		did.kind, did.value = typeAddToCart, site.pages[s.page].price
		s.basket += did.value
	case checkout:
		s.page = pageCheckout
		did.kind, e.Properties = typeCheckout, pick(r, site.orders)
	case purchase:
		if s.basket == 0 { // filled before the run
			s.basket = site.pages[site.product(r)].price
		}
		s.page = pageDone
		did.kind, did.value, e.Properties = typePurchase, s.basket, pick(r, site.orders)
		s.basket = 0
	case account:
		s.identified = true
		if v.audience.isMember(s.person) {
			s.page, did.kind = pageLogin, typeLogin
		} else {
			s.page, did.kind = pageSignup, typeSignup
			v.audience.joined.add(s.person.rank)
		}
		e.Properties = pick(r, site.logins)
	case failure:
		did.kind, e.Properties = typeError, pick(r, site.errors)
	}

	did.path = s.page
	e.Type = types[did.kind]
	e.Path, e.Referrer = site.pages[s.page].path, v.audience.referrers[did.referrer]
	if e.Properties == "" {
		e.Properties = site.pages[s.page].properties
	}
	if s.identified {
		did.actor++
		e.UserID = s.userID
	}
	if did.value > 0 {
		e.Value, e.HasValue, e.Currency = did.value, true, currencyOf(e.Country)
	}
	return did
}

// newID returns a UUID, version 7 (RFC 9562, method 3): milliseconds, then the
// microseconds as a fraction of 12 bits, then random bits. Unlike event.NewID it
// takes its bits from the seed, and sorts by time to the microsecond.
func newID(t time.Time, r *rand.Rand) (u event.UUID) {
	micros := t.UnixMicro()
	ms, fraction := uint64(micros/1000), uint64(micros%1000)*4096/1000
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6], u[7] = 0x70|byte(fraction>>8), byte(fraction)
	random := r.Uint64()
	for i := range 8 {
		u[8+i] = byte(random >> (56 - 8*i))
	}
	u[8] = u[8]&0x3f | 0x80
	return u
}
