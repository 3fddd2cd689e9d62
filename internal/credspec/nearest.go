package credspec

import "strings"

// nearest is the known privilege that differs least from id, or "" if none is near:
// by its letters whatever their case, or by its last word where the prefix is wrong.
func nearest(id string, known []string) string {
	low := strings.ToLower(strings.TrimSpace(id))
	best, least := "", len(low)/5+2
	for _, k := range known {
		if n := distance(low, strings.ToLower(k), least); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return best
	}
	word := low[strings.LastIndexByte(low, ':')+1:]
	for _, k := range known {
		if w := strings.ToLower(k[strings.LastIndexByte(k, ':')+1:]); len(word) > 3 && w == word {
			return k
		}
	}
	return ""
}

// distance counts single-character changes between two words; limit and more are all one.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	prev, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
		}
		prev, row = row, prev
	}
	return prev[len(b)]
}
