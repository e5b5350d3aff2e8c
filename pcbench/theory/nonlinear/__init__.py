"""Networks with activations, by the definition of the energy: layers, curvatures, Hessians."""
