package dashboard

import (
	"math"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestColoursAreToldApart holds the palettes to WCAG 2.2, level AA: 4.5 to 1 for text
// (1.4.3), 3 to 1 for what is drawn and for the edges of fields (1.4.11).
func TestColoursAreToldApart(t *testing.T) {
	t.Parallel()
	style, err := files.ReadFile("assets/style.css")
	require.NoError(t, err)
	palettes := regexp.MustCompile(`:root(\[data-theme="dark"\])? \{[^}]*\}`).FindAllString(string(style), -1)
	require.Len(t, palettes, 2)
	for i, theme := range []string{"light", "dark"} {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--(\w+): #(\w{6});`).FindAllStringSubmatch(palettes[i], -1) {
			rgb, err := strconv.ParseUint(c[2], 16, 32)
			require.NoError(t, err)
			colours[c[1]] = luminance(rgb)
		}
		holds := func(least float64, over, under []string) {
			for _, a := range over {
				for _, b := range under {
					require.Contains(t, colours, a)
					require.Contains(t, colours, b)
					light, dark := max(colours[a], colours[b]), min(colours[a], colours[b])
					require.GreaterOrEqual(t, (light+0.05)/(dark+0.05), least, "%s: %s on %s", theme, a, b)
				}
			}
		}
		holds(4.5, []string{"text", "quiet", "accent", "bad"}, []string{"ground", "card", "bar"})
		holds(3, []string{"quiet", "good", "warn"}, []string{"ground", "card"})
		holds(3, []string{"s0", "s1", "s2", "s3", "s4", "s5"}, []string{"card"})
	}
}

// luminance is WCAG's relative luminance of a colour in sRGB.
func luminance(rgb uint64) (sum float64) {
	for i, weight := range []float64{0.0722, 0.7152, 0.2126} { // blue, green, red
		c := float64(rgb>>(8*i)&0xff) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
