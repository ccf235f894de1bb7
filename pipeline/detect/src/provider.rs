//! Execution providers: on what a model runs, and what it really runs on.
//!
//! ONNX Runtime falls back to the CPU without a word when a provider is missing. So each one is registered explicitly, the
//! answer is kept, and what is active is told to whoever asks.

use std::fmt;
use std::str::FromStr;

use ort::ep::{CUDA, ExecutionProvider, TensorRT};
use ort::session::builder::SessionBuilder;
use serde::Deserialize;
use vigil_base::event::UnknownName;

/// What runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// NVIDIA TensorRT; CUDA runs what it cannot.
    TensorRt,
    /// NVIDIA CUDA.
    Cuda,
    /// The CPU; always there.
    Cpu,
}

impl Provider {
    /// All providers, fastest first.
    pub const ALL: [Self; 3] = [Self::TensorRt, Self::Cuda, Self::Cpu];

    /// Frames that one run takes at most. On the CPU a batch gains nothing and makes everybody wait; on a GPU, 16 pictures
    /// of a small detector fill the device, and more only add delay.
    pub(crate) fn batch_limit(self) -> usize {
        match self {
            Self::TensorRt | Self::Cuda => 16,
            Self::Cpu => 1,
        }
    }

    /// Whether pictures of changing size are run without preparing for each size anew.
    pub(crate) fn takes_any_size(self) -> bool {
        self == Self::Cpu
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TensorRt => "tensorrt",
            Self::Cuda => "cuda",
            Self::Cpu => "cpu",
        })
    }
}

impl FromStr for Provider {
    type Err = UnknownName;
    fn from_str(value: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|provider| provider.to_string() == value).ok_or_else(|| UnknownName {
            what: "execution provider",
            value: value.chars().take(80).collect(),
            known: Self::ALL.map(|provider| provider.to_string()).join(", "),
        })
    }
}

/// A provider that was wanted and does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which one.
    pub provider: Provider,
    /// What ONNX Runtime said.
    pub reason: String,
}

/// What a model was to run on, and what it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderChoice {
    /// As configured, in order of preference.
    pub requested: Vec<Provider>,
    /// What it really runs on.
    pub active: Provider,
    /// Preferred ones that do not work here.
    pub refused: Vec<Refusal>,
}

impl ProviderChoice {
    /// Whether the model runs on something else than what was wanted most.
    pub fn is_fallback(&self) -> bool {
        self.requested.first().is_some_and(|first| *first != self.active)
    }
}

/// Registers a provider with a session to be, or says why that does not work.
pub(crate) fn register(builder: &mut SessionBuilder, provider: Provider) -> Result<(), String> {
    let registered = match provider {
        Provider::Cpu => return Ok(()),
        Provider::Cuda => CUDA::default().register(builder),
        Provider::TensorRt => TensorRT::default().register(builder),
    };
    registered.map_err(|err| err.message().trim().to_owned())?;
    if provider == Provider::TensorRt {
        // For the nodes that TensorRT does not know; without it they go to the CPU, which works, too.
        let _ = CUDA::default().register(builder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_unknown_ones_are_listed_against() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse::<Provider>().unwrap(), provider);
        }
        let err = "gpu".parse::<Provider>().unwrap_err().to_string();
        assert!(err.contains("\"gpu\"") && err.contains("tensorrt, cuda, cpu"), "{err}");
    }
}
