package loadgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// Site is what there is to see.
type Site struct {
	Pages    int     `json:"pages"`    // number of paths
	Exponent float64 `json:"exponent"` // power law of their popularity
}

// page is a path and what events on it say. All texts are made beforehand, so
// that an event allocates nothing.
type page struct {
	path       string
	properties string
	price      int64 // millionths; products only
}

// The fixed pages come first, then the listings, then the products, both by
// falling popularity.
const (
	pageHome = iota
	pageSearch
	pageCart
	pageCheckout
	pageDone
	pageLogin
	pageSignup
	pageHelp
	pageTerms
	fixedPages
)

var fixedPaths = [fixedPages]string{"/", "/search", "/cart", "/checkout", "/checkout/done", "/login", "/signup", "/help", "/terms"}

// catalogue is the site's pages and the other texts of its events. It is the same
// for every seed: runs differ in who does what, not in what is for sale.
type catalogue struct {
	pages        []page
	listings     powerLaw
	products     powerLaw
	firstProduct int
	queries      []string
	clicks       []string
	errors       []string
	orders       []string
	logins       []string
}

func newCatalogue(s Site) *catalogue {
	r := newRand(0, streamCatalogue)
	listings := (s.Pages - fixedPages) / 10
	products := s.Pages - fixedPages - listings
	c := &catalogue{
		listings:     newPowerLaw(listings, s.Exponent),
		products:     newPowerLaw(products, s.Exponent),
		firstProduct: fixedPages + listings,
	}
	for _, path := range fixedPaths {
		c.add(path, fmt.Sprintf(`{"title":%q,"template":"static","viewport":"1280x720"}`, "Shop "+path), 0)
	}
	for i := range listings {
		noun := pick(r, nouns)
		c.add(fmt.Sprintf("/shop/%ss/%s-%d", noun, pick(r, qualities), i+1),
			fmt.Sprintf(`{"title":"All %ss, page %d","template":"listing","items":%d}`, noun, i+1, 12+r.IntN(36)), 0)
	}
	prices := newLogNormal(30, 0.9)
	for i := range products {
		noun, quality := pick(r, nouns), pick(r, qualities)
		price := int64(math.Ceil(prices.draw(r)))*1_000_000 - 10_000 // 29.99 and the like
		c.add(fmt.Sprintf("/shop/%ss/%s-%s-%d", noun, quality, noun, i+1),
			fmt.Sprintf(`{"sku":"%s-%05d","category":"%ss","in_stock":%t}`, strings.ToUpper(noun[:2]), i+1, noun, r.IntN(10) > 0), price)
	}
	for _, noun := range nouns {
		for _, quality := range qualities {
			c.queries = append(c.queries, fmt.Sprintf(`{"query":"%s %s","results":%d,"sort":"relevance"}`, quality, noun, r.IntN(80)))
		}
	}
	for _, element := range []string{"gallery-next", "gallery-zoom", "size-guide", "reviews", "share", "wishlist", "filter-price", "filter-colour", "delivery-info", "newsletter"} {
		for position := 1; position <= 5; position++ {
			c.clicks = append(c.clicks, fmt.Sprintf(`{"element":%q,"position":%d}`, element, position))
		}
	}
	for _, message := range []string{"TypeError: cannot read properties of undefined", "NetworkError: request timed out", "ChunkLoadError: loading chunk 7 failed", "PaymentError: card was declined"} {
		for _, status := range []int{0, 404, 500, 503} {
			c.errors = append(c.errors, fmt.Sprintf(`{"message":%q,"status":%d}`, message, status))
		}
	}
	for _, payment := range []string{"card", "card", "paypal", "invoice", "apple-pay"} {
		for _, shipping := range []string{"standard", "standard", "express", "pick-up"} {
			c.orders = append(c.orders, fmt.Sprintf(`{"payment":%q,"shipping":%q,"coupon":false,"gift":false}`, payment, shipping))
		}
	}
	for _, method := range []string{"password", "password", "google", "apple", "link"} {
		c.logins = append(c.logins, fmt.Sprintf(`{"method":%q,"remember":true,"second_factor":false}`, method))
	}
	return c
}

func (c *catalogue) add(path, properties string, price int64) {
	c.pages = append(c.pages, page{path, properties, price})
}

func (c *catalogue) listing(r *rand.Rand) int { return fixedPages + c.listings.draw(r.Float64()) }

func (c *catalogue) product(r *rand.Rand) int { return c.firstProduct + c.products.draw(r.Float64()) }

// entry is where a session lands: the home page, a listing from an
// advertisement, or a product found by search.
func (c *catalogue) entry(r *rand.Rand) int {
	switch u := r.Float64(); {
	case u < 0.4:
		return pageHome
	case u < 0.6:
		return c.listing(r)
	default:
		return c.product(r)
	}
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

var (
	nouns     = []string{"lamp", "chair", "table", "vase", "rug", "shelf-unit", "clock", "mirror", "sofa", "cushion", "kettle", "mug", "plate", "pan", "knife-set", "towel", "curtain", "frame", "basket", "candle"}
	qualities = []string{"brass", "oak", "walnut", "linen", "marble", "copper", "ceramic", "rattan", "velvet", "glass", "steel", "cotton", "bamboo", "slate", "wool", "cork"}
)
