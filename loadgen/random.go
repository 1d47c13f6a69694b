package loadgen

import (
	"math"
	"math/rand/v2"
)

// Each concern draws from a stream of its own, so that changing one (no
// duplicates, another rate) leaves what the others draw as it was.
const (
	streamArrivals = iota + 1
	streamBehaviour
	streamFaults
	streamIDs
	streamCatalogue
)

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) } // #nosec G404 -- has to be repeatable

// mix scrambles x, one to one (the finalizer of SplitMix64). What is drawn from
// mix(seed+k) needs no memory: a person is the same at every visit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps random bits to [0, 1).
func unit(bits uint64) float64 { return float64(bits>>11) / (1 << 53) }

// weighted picks an index in proportion to its weight, in constant time: Walker's
// alias method, as built by Vose.
type weighted struct {
	keep  []uint64 // below this, of 1<<32, the column's own index is kept
	other []int
}

// newWeighted needs weights of at least zero, not all zero.
func newWeighted(weights []float64) weighted {
	n, total := len(weights), 0.0
	for _, w := range weights {
		total += w
	}
	scaled := make([]float64, n) // 1 is a full column
	var small, large []int
	for i, w := range weights {
		scaled[i] = w / total * float64(n)
		if scaled[i] < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	out := weighted{make([]uint64, n), make([]int, n)}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		out.keep[s], out.other[s] = uint64(scaled[s]*(1<<32)), l
		if scaled[l] -= 1 - scaled[s]; scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		out.keep[i] = 1 << 32
	}
	return out
}

func (w *weighted) pick(bits uint64) int {
	i := int((bits >> 32) * uint64(len(w.keep)) >> 32)
	if bits&math.MaxUint32 < w.keep[i] {
		return i
	}
	return w.other[i]
}

// powerLaw draws ranks 0 to n-1, rank k with a weight close to (k+1)^-exponent:
// the integral of x^-exponent from k+1/2 to k+3/2. It has a closed form, so a
// population of millions needs no table.
type powerLaw struct {
	n                    int
	from, width, inverse float64 // of the integral x^e, and 1/e, where e = 1 - exponent
}

func newPowerLaw(n int, exponent float64) powerLaw {
	e := 1 - exponent
	if math.Abs(e) < 1e-6 {
		e = 1e-6 // the limit is a logarithm; this is within a millionth of it
	}
	from := math.Pow(0.5, e)
	return powerLaw{n, from, math.Pow(float64(n)+0.5, e) - from, 1 / e}
}

// draw maps u in [0, 1) to a rank.
func (p *powerLaw) draw(u float64) int {
	x := math.Pow(p.from+u*p.width, p.inverse)
	return min(max(int(x-0.5), 0), p.n-1)
}

// logNormal is the distribution of gaps, delays and prices: many short, few very
// long. Spread is the standard deviation of the logarithm.
type logNormal struct{ mu, spread float64 }

func newLogNormal(median, spread float64) logNormal { return logNormal{math.Log(median), spread} }

func (l logNormal) draw(r *rand.Rand) float64 { return math.Exp(l.mu + l.spread*r.NormFloat64()) }

func (l logNormal) mean() float64 { return math.Exp(l.mu + l.spread*l.spread/2) }

// residual draws what is left of a gap that somebody looks at in mid-course: a
// long gap is likelier to be met, and any point of it equally.
func (l logNormal) residual(r *rand.Rand) float64 {
	return r.Float64() * math.Exp(l.mu+l.spread*l.spread+l.spread*r.NormFloat64())
}
