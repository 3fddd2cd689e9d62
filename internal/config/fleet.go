package config

import (
	"fmt"
	"maps"
	"slices"

	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
)

// Fleet is what binds the credentials to each other. Dead, compromised and critical
// ones neither wait for it nor count.
type Fleet struct {
	Stages       []string `yaml:"stages,omitempty" doc:"Stages in their order, as in [canary, staging, production]. A scheduled rotation waits until no credential of an earlier stage is due, under way or failing. Credentials name theirs with stage."`
	HealthyFor   Duration `yaml:"healthy_for,omitempty" jsonschema:"default=24h" doc:"How long the earlier stages must have served their new keys without trouble."`
	AtOnce       int      `yaml:"at_once,omitempty" jsonschema:"minimum=1" doc:"Most rotations between claim and promotion at the same time. No limit if left out."`
	FailedProofs int      `yaml:"failed_proofs,omitempty" jsonschema:"default=3,minimum=1" doc:"Once the new keys of so many credentials failed their proof, no scheduled rotation starts until a person resumes them."`
	FailedShare  Share    `yaml:"failed_share,omitempty" doc:"The same for a share of all credentials that rotate, as in 5%. At least two must have failed. No such stop if left out."`
}

// FleetPolicy is the section as internal/fleet takes it.
func (c *Config) FleetPolicy() fleet.Policy {
	f := c.Fleet
	return fleet.Policy{Stages: slices.Clone(f.Stages), HealthyFor: f.HealthyFor.Std(), AtOnce: f.AtOnce, FailedProofs: f.FailedProofs, FailedShare: float64(f.FailedShare)}
}

// FleetMembers are the credentials as internal/fleet takes them.
func (c *Config) FleetMembers() []fleet.Member {
	out := make([]fleet.Member, 0, len(c.Credentials))
	for _, cr := range c.Credentials {
		out = append(out, fleet.Member{Name: rotate.Name(cr.Name), Stage: cr.Stage, Policy: c.RotatePolicy(cr), Mode: rotate.Mode(cr.Mode), Held: cr.Hold != ""})
	}
	return out
}

// fleet checks stages: each there once, and none that no credential is in.
func (k *checker) fleet() {
	stages := k.c.Fleet.Stages
	for i, s := range stages {
		if s == "" || slices.Contains(stages[:i], s) {
			k.bad(fmt.Sprintf("fleet.stages[%d]", i), "name each stage once, in their order", "%s is empty or there twice", shown(s))
		}
	}
	used := map[string]bool{}
	for i, cr := range k.c.Credentials {
		if cr.Stage == "" {
			continue
		}
		used[cr.Stage] = true
		if !slices.Contains(stages, cr.Stage) && !k.anyBroken("fleet") {
			k.bad(fmt.Sprintf("credentials[%d].stage", i), suggest(cr.Stage, stages), "%s is not one of fleet.stages", shown(cr.Stage))
		}
	}
	for i, s := range stages {
		if !used[s] && s != "" && !k.anyBroken("credentials") {
			k.bad(fmt.Sprintf("fleet.stages[%d]", i), fmt.Sprintf("give a credential stage: %s, or leave it out", s), "no credential is in stage %s (there are %v)", s, slices.Sorted(maps.Keys(used)))
		}
	}
}
