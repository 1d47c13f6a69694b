package unique

import (
	"math"
	"sync"

	"github.com/axiomhq/hyperloglog"
)

// registers of a sketch, and where they begin in its encoded form.
const (
	registers = 1 << 16
	header    = 8
)

// buffers are for encoded sketches.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// estimate is the sketch's own Estimate, by LogLog-Beta (Qin et al., 2016), ten times as
// fast: it counts how many registers have each value, instead of raising 2 to the value of
// each of 65,536. A question about users makes dozens of estimates.
func estimate(sketch *hyperloglog.Sketch) int64 {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	encoded, err := sketch.AppendBinary((*buffer)[:0])
	if err != nil || len(encoded) != header+registers { // not the form that this was written for
		return int64(sketch.Estimate())
	}
	*buffer = encoded
	// Two tables, as an increment waits for the one before of the same value.
	var even, odd [256]int
	for values := encoded[header:]; len(values) >= 2; values = values[2:] {
		even[values[0]]++
		odd[values[1]]++
	}
	sum := 0.
	for value := range even {
		sum += math.Ldexp(float64(even[value]+odd[value]), -value)
	}
	const alpha = 0.7213 / (1 + 1.079/registers)
	zeros := float64(even[0] + odd[0])
	return int64(alpha*registers*(registers-zeros)/(sum+beta(zeros)) + 0.5)
}

// beta corrects for empty registers; the coefficients are those of precision 16.
func beta(zeros float64) float64 {
	log := math.Log(zeros + 1)
	sum := 0.
	for _, c := range [...]float64{ // Horner's scheme, from the seventh power down
		0.00155770210179105, -0.03053811369682807, 0.26064681399483092, -0.99242233534286128,
		1.56152033906584164, 0.40729184796612533, -1.41704077448122989,
	} {
		sum = (sum + c) * log
	}
	return sum - 0.37331876643753059*zeros
}
