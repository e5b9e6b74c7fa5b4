//! AdamW whose state can be written down: torch's own keeps it out of reach, and a resumed run must go on as if it
//! had never stopped.

use std::collections::BTreeMap;

use tch::Tensor;

/// Decay rates of the moments and the term that keeps the division finite: torch's defaults, as the authors use them.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// AdamW (decoupled weight decay) over named tensors.
#[derive(Debug)]
pub struct AdamW {
    learning_rate: f64,
    weight_decay: f64,
    steps: i32,
    moments: BTreeMap<String, Moments>,
}

/// Running means of the gradient and of its square.
#[derive(Debug)]
pub struct Moments {
    /// Of the gradient.
    pub first: Tensor,
    /// Of its square.
    pub second: Tensor,
}

impl AdamW {
    /// Before the first step.
    pub fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Self { learning_rate, weight_decay, steps: 0, moments: BTreeMap::new() }
    }

    /// As it was after `steps` steps.
    #[must_use]
    pub fn resumed(self, steps: i32, moments: BTreeMap<String, Moments>) -> Self {
        Self { steps, moments, ..self }
    }

    /// Steps taken.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// State of each parameter that has met a gradient.
    pub fn moments(&self) -> &BTreeMap<String, Moments> {
        &self.moments
    }

    /// Moves every parameter against its gradient and clears the gradient. Tensors that do not ask for gradients
    /// stay as they are.
    pub fn step(&mut self, parameters: &mut BTreeMap<String, Tensor>) {
        self.steps += 1;
        let (beta1, beta2) = BETAS;
        let step_size = self.learning_rate / (1.0 - beta1.powi(self.steps));
        let second_correction = (1.0 - beta2.powi(self.steps)).sqrt();
        tch::no_grad(|| {
            for (name, parameter) in parameters {
                let gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                let Moments { first, second } = self.moments.entry(name.clone()).or_insert_with(|| Moments {
                    first: gradient.zeros_like(),
                    second: gradient.zeros_like(),
                });
                let _ = first.lerp_(&gradient, 1.0 - beta1);
                let _ = second.g_mul_scalar_(beta2).g_add_(&(&gradient * &gradient * (1.0 - beta2)));
                let update = &*first / (second.sqrt() / second_correction + EPSILON) * step_size;
                let _ = parameter.g_mul_scalar_(1.0 - self.learning_rate * self.weight_decay);
                let _ = parameter.g_sub_(&update);
                parameter.zero_grad();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, OptimizerConfig as _};
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn steps_are_those_of_torch_s_own_adamw() {
        let begin = Tensor::linspace(-2.0, 2.0, 9, (Kind::Float, Device::Cpu));
        let loss = |weight: &Tensor| (weight.sin() * weight.exp()).sum(Kind::Float);
        let store = nn::VarStore::new(Device::Cpu);
        let theirs = store.root().var_copy("weight", &begin);
        let mut torch = nn::AdamW { wd: 0.1, ..nn::AdamW::default() }.build(&store, 1e-2).unwrap();
        let ours = begin.copy().set_requires_grad(true);
        let mut parameters = BTreeMap::from([("weight".to_owned(), ours.shallow_clone())]);
        let mut optimiser = AdamW::new(1e-2, 0.1);
        for _ in 0..50 {
            torch.backward_step(&loss(&theirs));
            loss(&ours).backward();
            optimiser.step(&mut parameters);
        }
        let difference = f64::try_from((&ours - &theirs).abs().max()).unwrap();
        assert!(difference <= 1e-6, "the weights must agree, are off by {difference}");
    }
}
