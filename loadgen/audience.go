package loadgen

import (
	"math/rand/v2"
	"slices"
)

// Audience is who visits.
type Audience struct {
	People    int                `json:"people"`    // size of the population
	Exponent  float64            `json:"exponent"`  // power law: person k starts sessions in proportion to k^-exponent
	Members   float64            `json:"members"`   // share who have an account from the beginning
	Countries map[string]float64 `json:"countries"` // weights of ISO 3166-1 alpha-2 codes
	Platforms []Platform         `json:"platforms"`
	Referrers map[string]float64 `json:"referrers"` // weights of URLs; "direct" is none
}

// Platform is a device with what runs on it: these three depend on each other.
type Platform struct {
	Device  string  `json:"device"`
	OS      string  `json:"os"`
	Browser string  `json:"browser"`
	Weight  float64 `json:"weight"`
}

// person is one of the audience. Everything but a later signup follows from the
// seed and the rank, so nobody is kept in memory.
type person struct {
	rank     int // 0 is the most active
	key      uint64
	country  int
	platform int
}

type audience struct {
	seed     uint64
	activity powerLaw
	members  float64
	joined   bitset // ranks that signed up during the run

	countries []string
	platforms []Platform
	referrers []string // the first is none: that of every event but a landing

	countryWeights, platformWeights, referrerWeights weighted
}

func newAudience(a Audience, seed uint64) *audience {
	out := &audience{
		seed:      mix(seed),
		activity:  newPowerLaw(a.People, a.Exponent),
		members:   a.Members,
		joined:    newBitset(a.People),
		platforms: a.Platforms,
	}
	out.countries, out.countryWeights = byWeight(a.Countries)
	names, w := byWeight(a.Referrers)
	out.referrers, out.referrerWeights = append([]string{""}, names...), w
	if i := slices.Index(out.referrers, "direct"); i > 0 {
		out.referrers[i] = ""
	}
	weights := make([]float64, len(a.Platforms))
	for i, p := range a.Platforms {
		weights[i] = p.Weight
	}
	out.platformWeights = newWeighted(weights)
	return out
}

// origin is where a session comes from.
func (a *audience) origin(r *rand.Rand) int { return 1 + a.referrerWeights.pick(r.Uint64()) }

// somebody is who begins the next session.
func (a *audience) somebody(r *rand.Rand) person {
	rank := a.activity.draw(r.Float64())
	key := mix(a.seed + uint64(rank))
	return person{
		rank:     rank,
		key:      key,
		country:  a.countryWeights.pick(mix(key + 1)),
		platform: a.platformWeights.pick(mix(key + 2)),
	}
}

func (a *audience) isMember(p person) bool {
	return unit(mix(p.key+3)) < a.members || a.joined.has(p.rank)
}

// currencyOf is what a country pays in. Prices are not converted.
func currencyOf(country string) string {
	if c, ok := currencies[country]; ok {
		return c
	}
	return "EUR"
}

var currencies = map[string]string{
	"US": "USD", "GB": "GBP", "IN": "INR", "BR": "BRL", "CA": "CAD", "JP": "JPY", "PL": "PLN", "AU": "AUD",
	"SE": "SEK", "MX": "MXN", "CH": "CHF", "ID": "IDR", "NG": "NGN", "PH": "PHP", "TR": "TRY", "VN": "VND", "EG": "EGP",
}
