package daemon

import (
	"regexp"

	"rotatord/internal/rotate"
)

// keyLike is the beginning of an API key of either kind (arcgis-portal-contract 5.3).
var keyLike = regexp.MustCompile(`AAP[TK][A-Za-z0-9._-]{12,}`)

const longestFingerprint = 32

// slip finds a key in what a person typed where something else was wanted. What they
// typed goes into log and history, so it is refused before it gets there, unrepeated.
func slip(cmd rotate.Command, names []rotate.Name) error {
	for _, f := range cmd.Fingerprints {
		if len(f) > longestFingerprint || keyLike.MatchString(string(f)) {
			return &badRequestError{"a fingerprint is wanted, not a key: it stands in rotatord status and history, as in AT1_H4JC97kO-1a2b3c4d. " +
				"The key is now in your shell's history"}
		}
	}
	for _, n := range names {
		if keyLike.MatchString(string(n)) {
			return &badRequestError{"the name of a credential is wanted, not a key. The key is now in your shell's history"}
		}
	}
	if keyLike.MatchString(cmd.Text) {
		return &badRequestError{"the reason has a key in it, and would be kept in the history: leave it out"}
	}
	return nil
}
