package run

// hostOf is a host's place in a rollout.
type hostOf struct {
	rollout *Item
	n       int // from 0, in the order of the hosts
}

// hosts tells for each item of a rollout where in it it stands.
func hosts(p *Plan) map[string]hostOf {
	out := map[string]hostOf{}
	for i := range p.Items {
		if it := &p.Items[i]; it.Rollout != nil {
			for n, id := range it.Children {
				out[id] = hostOf{it, n}
			}
		}
	}
	return out
}

// kindInOrder is what an item counts as for those below it: a rollout as what its
// hosts' items are.
func kindInOrder(it *Item) Kind {
	if it.Rollout != nil {
		return it.Rollout.Kind
	}
	return it.Kind
}

// previous gives the items of the batch before that of the item at n.
func (r *Rollout) previous(children []string, n int) []string {
	start := n - n%r.Batch
	return children[max(start-r.Batch, 0):start]
}

// nextBatch reports whether a host's item may begin as far as the other hosts are
// concerned: those of the batches before are over, and not too many of them
// without success. One in doubt is not over.
func (m *machine) nextBatch(i int) bool {
	at := &m.shape.spots[i]
	failures := 0
	for n := len(at.earlier) - 1; n >= 0; n-- { // the last ones are over last
		j := at.earlier[n]
		switch m.Items[j].Status {
		case Fail, Failed, Inconclusive, Undone:
			if m.marks[j]&letting == 0 {
				failures++
			}
		default:
			if m.marks[j]&letting == 0 {
				return false
			}
		}
	}
	return failures <= at.maxFailures
}
